"""What pages load: libraries from npm, and style sheets and scripts as they are served."""
