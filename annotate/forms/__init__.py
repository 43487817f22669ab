"""What browsers send, turned into the types that the domain takes. One module a subject."""
