"""Everything compiled for one family of processors. The product works without this folder."""
