"""Jobs: one program run in its own folder, kept, continued or made anew."""
