"""A stand-in for providers: OpenAI, Azure and Anthropic, scripted per credential."""
