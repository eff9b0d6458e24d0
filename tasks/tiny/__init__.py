"""The embedded profile: a generated world of real media files, and the small models that know it."""
