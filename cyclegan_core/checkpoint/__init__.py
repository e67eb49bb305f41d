"""Weight files in and out: our own format and every foreign layout that can be recognised."""
