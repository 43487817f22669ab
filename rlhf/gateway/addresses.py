"""The gateway's addresses, below /v1/."""

from django.urls import path

from rlhf.views import gateway_api

app_name = "gateway"
urlpatterns = [
    path("models", gateway_api.models, name="models"),
    path("models/<path:name>", gateway_api.model, name="model"),
    path("chat/completions", gateway_api.chat_completions, name="chat_completions"),
    path("feedback", gateway_api.feedback, name="feedback"),
]
