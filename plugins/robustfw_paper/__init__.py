"""The experiments of Shaham, Yamada and Negahban (2015), as recipes for ``robustfw reproduce``."""
