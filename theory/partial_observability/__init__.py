"""Parts P and A: hidden states, and ambiguous models of them."""
