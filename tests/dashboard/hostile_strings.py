"""Thirty strings that would run something if a view took them for anything but text.

Each sets ``window.ran``, opens a dialog, or leaves an element with the id ``planted``.
"""

RAN = "window.ran=1"
HOSTILE = (
    f"<script>{RAN}</script>",
    f"</script><script>{RAN}</script>",
    f"<img src=x onerror={RAN}>",
    f"\"><img src=x onerror='{RAN}'>",
    f"'><svg/onload={RAN}>",
    f"</td></tr></table><script>{RAN}</script>",
    f"</title><script>{RAN}</script>",
    f"</style><script>{RAN}</script>",
    f"</textarea><img src=x onerror={RAN}>",
    f"<!--><script>{RAN}</script-->",
    f"<iframe srcdoc='<script>parent.{RAN}</script>'></iframe>",
    f"<details open ontoggle={RAN}>x</details>",
    f"<input autofocus onfocus={RAN}>",
    f"<video><source onerror={RAN}></video>",
    f"<body onload={RAN}>",
    f"<math><mtext><table><mglyph><style><img src=x onerror={RAN}>",
    f"<noscript><p title='</noscript><img src=x onerror={RAN}>'>",
    f"<svg><animate onbegin={RAN} attributeName=x dur=1s>",
    f"<object data='javascript:parent.{RAN}'></object>",
    "<a href='javascript:alert(1)' id=planted>look</a>",
    "<base href='https://planted.invalid/'><b id=planted>x</b>",
    "<form id=planted action='javascript:alert(1)'><button>x</button></form>",
    "{{constructor.constructor('window.ran=1')()}}",
    "${window.ran=1}#{window.ran=1}<%= window.ran=1 %>",
    f"$$\\href{{javascript:{RAN}}}{{\\text{{x}}}}$$",
    "\\(\\unicode{<img src=x onerror=window.ran=1>}\\)",
    "@{planted}{safe} <b id=planted>x</b>",
    "\\u003cscript\\u003ewindow.ran=1\\u003c/script\\u003e",
    f"\x1b]8;;javascript:{RAN}\x07\u202e<script\x0b>{RAN}</script>",
    f"&lt;script&gt;{RAN}&lt;/script&gt;<p id=planted>&amp;</p>",
)
assert len(HOSTILE) == 30
