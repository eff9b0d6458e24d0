"""What `vidrd up` is made of: where its servers answer, how each is started, and who keeps them running."""
