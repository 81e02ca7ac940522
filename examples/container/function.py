"""minivan as a function that a platform calls, as AWS Lambda does: one photo in, classes out, the model kept between calls.

The platform gives a read-only file system, no home, 512 MB, and calls `handler(event, context)`. The event holds the photo
in base64 under 'body', as an HTTP gateway sends it.

    python examples/container/function.py PHOTO     call it here, as the platform would
"""

import base64
import json
import sys

import minivan
from minivan.image import ImageError, prepare
from minivan.predict import guesses

LARGEST_PHOTO = 6 << 20  # bytes, what such platforms pass on at most

model = minivan.load(engine="fast")  # once for each instance, before its first call


def handler(event, context=None):
    """Answer one request: {'body': base64} -> {'statusCode', 'headers', 'body'}, the body being JSON."""
    try:
        photo = base64.b64decode(event["body"], validate=True)
        if len(photo) > LARGEST_PHOTO:
            return answer(413, {"error": f"a photo has at most {LARGEST_PHOTO} bytes"})
        x = prepare(photo, model.card.preprocessing)
    except (KeyError, TypeError, ValueError) as error:  # an ImageError is a ValueError: its text is one line for the user
        return answer(400, {"error": str(error) if isinstance(error, ImageError) else "send a photo in base64 as the body"})
    found = guesses(model.card, model(x[None])[0])
    return answer(200, {"classes": [{"name": guess.label, "probability": guess.probability} for guess in found]})


def answer(status, body):
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as file:
        print(handler({"body": base64.b64encode(file.read()).decode()}))
