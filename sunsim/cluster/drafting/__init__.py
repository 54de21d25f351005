"""Workers whose decodes emit several tokens a step: some of a few drafted ones are accepted (speculative decoding)."""
