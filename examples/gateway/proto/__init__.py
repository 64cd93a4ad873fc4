"""The conversation as gRPC: ``conversation.proto``, and the modules that protoc makes of it."""
