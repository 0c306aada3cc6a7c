"""The core: decides and remembers. It imports no door, and no door decides anything itself."""
