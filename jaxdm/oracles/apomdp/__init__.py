"""Alpha-maxmin planning in ambiguous POMDPs: exact on histories, on summaries of them, or between bounds."""
