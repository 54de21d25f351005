"""What drafts (speculative decoding) cost and give: steps alone, whole clusters, and what others have published."""
