"""What every run of a flow shares: signing in, progress, reasons of failures, cancellation."""
