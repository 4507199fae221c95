"""Language models that decide: where their weights come from, and what is done with them."""
