"""Figures and the report, drawn from stored results alone: numpy, matplotlib, `jaxdm.storage`; never jax."""
