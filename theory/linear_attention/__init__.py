"""Part L: one layer of attention estimates Q* in linear MDPs."""
