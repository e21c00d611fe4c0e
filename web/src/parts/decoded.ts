/** decoded finds what is text in base64 within a body, where it stands, and what it says: people should not have to. */
export function decoded(body: string): { where: string; text: string }[] {
  let v: unknown
  try {
    v = JSON.parse(body)
  } catch {
    return []
  }
  const out: { where: string; text: string }[] = []
  const walk = (v: unknown, where: string) => {
    if (out.length >= 20) return
    if (typeof v === 'string') {
      const text = readable(v)
      if (text !== undefined) out.push({ where, text })
    } else if (Array.isArray(v)) v.forEach((x, i) => walk(x, `${where}[${i}]`))
    else if (v && typeof v === 'object') for (const [k, x] of Object.entries(v)) walk(x, where ? `${where}.${k}` : k)
  }
  walk(v, '')
  return out
}

function readable(s: string): string | undefined {
  if (s.length < 16 || !/^[A-Za-z0-9+/_-]+={0,2}$/.test(s)) return undefined
  try {
    const raw = atob(s.replace(/-/g, '+').replace(/_/g, '/').replace(/=+$/, ''))
    const text = new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.from(raw, (c) => c.charCodeAt(0)))
    const odd = [...text].filter((c) => c < ' ' && !'\r\n\t'.includes(c)).length
    return odd === 0 && /[\s\p{P}]/u.test(text) ? text.replace(/\r\n/g, '\n') : undefined
  } catch {
    return undefined
  }
}
