/** pick reads what a page has in its address: texts under these names, and nothing else. */
export const pick =
  <K extends string>(...keys: K[]) =>
  (s: Record<string, unknown>): { [P in K]?: string } => {
    const out: { [P in K]?: string } = {}
    for (const k of keys) {
      const v = s[k]
      if (typeof v === 'string' && v) out[k] = v
      else if (typeof v === 'number' || typeof v === 'boolean') out[k] = String(v)
    }
    return out
  }
