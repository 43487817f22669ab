"""The gateway: OpenAI's protocol at /v1, replied by a project's policy or by an upstream (docs/gateway.md).

addresses.py         what is at /v1
gateway_settings.py  what a manager sets: open or not, what replies to which model name, what is kept
openai_errors.py     errors in OpenAI's shape
chat_requests.py     what a program asks for, checked
concurrency.py       how many requests a web process answers at once, and who is refused
client_connection.py whether the program that asked is still there
upstream.py          a server that speaks the protocol itself
live_choices.py      the live worker, which has the policy in use loaded
completions.py       from a request to its reply, whole or as a stream, and to what is kept of it
waiting_requests.py  requests that wait for the live worker, deleted with a person's data
"""
