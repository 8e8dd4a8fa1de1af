"""The gateway that sandboxes' bots connect to: Discord's protocol, fed from each sandbox's own lane."""
