"""Fine-tuning of a prefill module against a frozen decode module, and how well it does; torch and transformers."""
