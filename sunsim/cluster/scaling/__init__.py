"""How an elastic pool grows and shrinks: policies and the life of its slots, both without a clock, and what drives them."""
