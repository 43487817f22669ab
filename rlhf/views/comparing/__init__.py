"""Pages that compare versions: evaluations by people, and the playground."""
