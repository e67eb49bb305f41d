"""Training pictures: two folders, their order, their transforms, and what is wrong with them."""
