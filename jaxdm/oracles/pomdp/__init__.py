"""Planning in POMDPs: exact on beliefs or histories, or between bounds."""
