"""Stripped Python files: what stays, what goes, and that they still run."""

import importlib.util
import marshal
import subprocess
import sys
import textwrap

import pytest

from nightlab.sandbox.bytecode import strip_file

SECRET = "words to learn from"


@pytest.fixture
def strip(tmp_path):
    """Strip a module's text; give what lies in its place, and what running it prints."""

    def run(text, name="module.py", program="import module"):
        source, place = tmp_path / "source" / name, tmp_path / "place" / name
        for path in (source, place):
            path.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(textwrap.dedent(text).lstrip("\n"))
        assert strip_file(source, place)
        done = subprocess.run(
            [sys.executable, "-B", "-c", program],
            cwd=tmp_path / "place",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return place.read_text(), done.stdout.strip()

    return run


def test_documentation_and_comments_go_and_the_code_runs(strip, tmp_path):
    kept, said = strip(f'''
        """{SECRET}"""
        # {SECRET}
        class Kind:
            """{SECRET}"""
            def method(self):
                """{SECRET}"""
                assert self.method.__doc__ == "", "code does work on its documentation"
                return 7
        print(Kind().method(), repr(__doc__), __file__.endswith("module.py"))
    ''')
    assert kept == ""
    assert said == "7 '' True"
    compiled = importlib.util.cache_from_source(str(tmp_path / "place" / "module.py"))
    with open(compiled, "rb") as file:
        data = file.read()
    assert SECRET.encode() not in data
    assert str(tmp_path).encode() not in data
    assert marshal.loads(data[16:]).co_filename == ""


def test_an_error_names_the_line_and_assertions_hold(strip):
    _, said = strip(
        """
        # first
        def f():
            assert False
        """,
        program="""
import traceback, module
try:
    module.f()
except AssertionError as error:
    print(traceback.extract_tb(error.__traceback__)[-1].lineno)
""",
    )
    assert said == "3"


def test_documentation_given_to_functions_goes(strip):
    _, said = strip(
        f'''
        def add_docstr(function, text):
            function.__doc__ = text
        def f(): ...
        add_docstr(f, """{SECRET}
        in {{place}}""".format(place="there"))
        class G: ...
        G.__doc__ = """{SECRET}
        here"""
        print(f.__doc__, G.__doc__, len(f.__doc__) >= 16)
        '''
    )
    assert SECRET not in said
    assert said.endswith("True"), "shorter ones would dangle in torch's C++"


def test_code_that_reads_its_source_finds_it(strip):
    kept, said = strip(
        f'''
        class jit:
            script = staticmethod(lambda function: function)
        def other():
            return "{SECRET}"
        @jit.script
        def read(x):
            """{SECRET}"""
            # {SECRET}
            return x  # type: int
        def named():
            return 8
        jit.script(named)
        ''',
        program="import inspect, module; print(inspect.getsource(module.read))",
    )
    assert SECRET not in kept
    assert said.startswith("@jit.script\ndef read(x):")
    assert "return x  # type: int" in said
    assert "return 8" in kept


def test_what_triton_reads_is_kept_by_its_decorators_and_in_its_language(strip):
    text = f'''
        def constexpr_function(function):
            return function
        @constexpr_function
        def next_power(number):
            """{SECRET}"""
            return 2 * number
        def handed_on(kind):
            return kind  # {SECRET}
    '''
    reading = "import inspect, module; print(inspect.getsource(module.next_power))"
    kept, said = strip(text, program=reading)
    assert "return 2 * number" in said
    assert "handed_on" not in kept
    name = "triton/language/core.py"
    kept, said = strip(text, name=name, program=f"print(open({name!r}).read())")
    assert "return kind" in said
    assert SECRET not in kept


def test_modules_of_settings_keep_the_comments_that_are_read(strip):
    kept, _ = strip(
        f"""
        import sys
        install_config_module = print
        # {SECRET}
        # @compile_ignored: because
        value = 1
        install_config_module(sys.modules[__name__])
        """
    )
    assert SECRET not in kept
    assert "# @compile_ignored: because\nvalue = 1" in kept


def test_a_program_that_is_run_by_path_keeps_its_text(strip):
    kept, said = strip(
        f'"""{SECRET}"""\nprint("ran")\n',
        name="__main__.py",
        program="import runpy; runpy.run_path('__main__.py')",
    )
    assert "ran" in said
    assert SECRET not in kept


def test_what_does_not_compile_is_left_out(tmp_path):
    source = tmp_path / "broken.py"
    source.write_text("print 'an older Python'\n")
    assert not strip_file(source, tmp_path / "place.py")
    assert not (tmp_path / "place.py").exists()
