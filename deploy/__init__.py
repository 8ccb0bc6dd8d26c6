"""What runs the system: the local stack, containers, Vault policies, the catalog."""
