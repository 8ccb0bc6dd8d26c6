"""A stand-in for providers: OpenAI's and Azure's chat completions, scripted per credential."""
