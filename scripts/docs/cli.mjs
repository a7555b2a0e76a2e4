// The page of the command line, from its own objects.
import { block, code, generated, table } from "./text.mjs";

/** docs/cli.md */
export async function cliPage(dist) {
  const { cliProgram } = await dist("cli/main.js");
  const program = cliProgram();
  const commands = program.commands.filter((c) => c.name() !== "help");
  return [
    generated,
    "# The command line",
    program.description(),
    table(
      ["command", "does"],
      commands.map((c) => [`[\`${c.name()}\`](#${c.name()})`, c.description()]),
    ),
    'A size is a number of bytes, or one with a unit: `20MiB`, `512KB`. Options that "may be repeated" add up. Messages go to stderr, results to stdout. The exit status is 0 when all went well, 1 when the work failed (a check found a difference), 2 for wrong use or bad input, 3 for an internal error, which is a bug.',
    ...commands.map(commandEntry),
    "## Environment",
    table(
      ["variable", "does"],
      [
        ["`TILEWRIGHT_DEBUG`", "1 shows each step with its time, and stack traces; 2 also the rules that fired; up to 6 the IR"],
        ["`TILEWRIGHT_VERIFY`", "1 runs the verifiers of the IRs after every step"],
        ["`CC`", "the C compiler of target `native`, and of the shared library that `compile --target c` builds"],
        ["`XDG_CACHE_HOME`", "where native code is cached, in a folder `tilewright`; `~/.cache` without it"],
      ],
    ),
  ].join("\n\n");
}

function commandEntry(c) {
  const help = helpOf(c);
  const examples = help
    .slice(help.indexOf("Examples:"))
    .split("\n")
    .filter((l) => l.trim().startsWith("$ "))
    .map((l) => l.trim());
  return [
    `## ${c.name()}`,
    c.description(),
    code(`npx tilewright ${c.name()} ${c.usage()}`),
    ...(c.options.length === 0 ? [] : [table(["option", "does"], c.options.map(optionRow))]),
    "<!-- test: parse -->",
    block("sh", examples.join("\n")),
  ].join("\n\n");
}

function optionRow(o) {
  const value = o.defaultValue === undefined || o.defaultValueDescription !== undefined ? [] : [`default: \`${o.defaultValue}\``];
  const notes = [...value, ...(o.mandatory ? ["required"] : [])];
  return [code(o.flags), `${o.description}${notes.length === 0 ? "" : ` (${notes.join("; ")})`}`];
}

/** The help as the command prints it, what was added to it included. */
function helpOf(c) {
  let text = "";
  c.configureOutput({
    writeOut: (t) => {
      text += t;
    },
  });
  c.outputHelp();
  return text;
}
