"""Files, folders, text, images, downloads, and the schemas of what is read."""
