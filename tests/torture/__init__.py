"""Everything at once: real processes under load, a nemesis, and a checker that
holds what the simulator's journal says against all other memories."""
