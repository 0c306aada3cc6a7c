"""The web doors: what people see in a browser, and the HTTP server it stands on. They import the core, and no other
door."""
