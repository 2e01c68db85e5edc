"""What others might write to do more than to be read, and honest texts that look alike."""

HOSTILE = {
    "clears the screen": "\x1b[2J\x1b[1;1Hkeep (improved)",
    "names the window": "\x1b]0;owned\x07",
    "a terminal's link": "\x1b]8;;http://x.example\x1b\\click\x1b]8;;\x1b\\",
    "asks the terminal": "\x1b[6n\x1b[c\x1bP$q\x1b\\",
    "controls of eight bits": "\x9b31m\x9d8;;http://x.example\x9c\x90q\x9c",
    "writes over the line": "discard\rkeep   \x08\x08\x7f\x0b\x0c",
    "code behind a carriage return": "harmless = 1  # comment\rimport os",
    "turns direction": "access = 'user\u202e \u2066# admin\u2069 \u2066'\u200f\u061c",
    "shows as nothing": "a\u200b\u200c\u200d\u2060\ufeff\xadb\U000e0041\U000e0100\u3164\u115f",
    "separates lines": "one\u2028two\u2029three\x85four\x1cfive",
    "half letters": "\ud800 \udcff \x00 \ufffe",
    "rich's markup": "[link=http://x.example]click[/link] [bold]x[/bold] [/] [@click=f()]y[/]",
    "a script": "<script>alert(1)</script><img src=http://x.example/a onerror=alert(1)>",
    "out of an attribute": "\"><svg onload=alert(1)><a href='javascript:alert(1)'>",
    "a style and a base": "</style><style>@import url(http://x.example)</style>"
    "<base href=//x.example>",
    "ends a script": "</script></title></textarea><iframe src=//x.example>",
    "a template": "{{ 7 * 7 }} {% raw %} ${7*7} {0.__class__} %s",
    "a picture in Markdown": "![x](http://x.example/p.png?data=1) ![y][z]",
    "links in Markdown": "[a](http://x.example) <http://x.example> [b]: http://x.example",
    "addresses alone": "http://x.example https://x.example www.x.example "
    "ftp://x.example a@x.example",
    "ends a fence": "```\n![x](http://x.example/p.png)\n~~~~\n``````\n<b>bold</b>",
    "blocks": "# heading\n- list\n1. list\n> quote\n---\n\n    code\n===\n| a | b |\n|---|---|\n",
    "begins as a list": "12. list",
    "begins as a heading": "## heading ##",
    "begins as a rule": "--- ***",
    "marks": "**bold** __bold__ *i* _i_ ~~gone~~ `code` ``code`` \\*x\\* &lt;b&gt; &#60;b&#62;",
    "a command with more in it": "`nightlab ![x](http://x.example)` `nightlab x` y `nightlab <b>`",
    "cells": "a | b || c \\| d",
    "a formula": '=HYPERLINK("http://x.example","x")',
    "a formula that calls": "@SUM(1+1)*cmd|' /C calc'!A0",
    "calls a channel": "<!channel> <!here|now> !channel> <@U123> @U123> <http://x.example|y>",
    "a long line": "<b>" * 5_000 + "`" * 3_000 + "\x1b[" * 5_000,
}

HONEST = (
    "Raise the matrix learning rate to 0.03 (3e-4 before), 50 % more, x < y",
    "ünïcode — «fine» ‘quotes’, 中文, עברית, العربية, x² ≤ 3, ⚙️ 🚀",
    "a line\nand another\twith a tab",
)
