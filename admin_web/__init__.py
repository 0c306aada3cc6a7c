"""The web doors: what people see in a browser. They import the house, and no other door."""
