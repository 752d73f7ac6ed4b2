// Arguments of commands as people type them.

/** `seconds=30, mode=quiet` as an object; numbers and truth values are taken as such. Null if it is not of that form. */
export function argumentsOf(text: string): Record<string, string | number | boolean> | null {
  const args: Record<string, string | number | boolean> = {};
  for (const part of text.split(/[,，]/)) {
    if (!part.trim()) continue;
    const found = /^\s*([\w-]+)\s*=\s*(.*?)\s*$/.exec(part);
    if (!found) return null;
    const [, name, value] = found as unknown as [string, string, string];
    const number = Number(value);
    if (value === "true" || value === "false") args[name] = value === "true";
    else args[name] = value !== "" && Number.isFinite(number) ? number : value;
  }
  return args;
}
