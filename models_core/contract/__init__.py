"""What Hone's other packages share with the recipes. Standard library only; all that they may import."""
