"""What an encoder knows about motion: probes on clips whose motion is known exactly."""
