import { Anchor } from '@mantine/core'
import { Fragment, useState } from 'react'

// What people cannot see, or what turns the direction of writing, can make them read something else than is there.
const unseen = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cs}\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\ufe00-\ufe0f\ufffd]|[\u{e0100}-\u{e01ef}]/u

/** Shown is text that others wrote: every character of it is seen, and a long one is cut until asked for; in a link it stays cut. */
export function Shown({ text, most = 400, link = false }: { text: string; most?: number; link?: boolean }) {
  const [all, setAll] = useState(false)
  const cut = !all && text.length > most
  const parts = split(cut ? text.slice(0, most) : text)
  return (
    <bdi>
      {parts.map((p, i) =>
        p.odd ? (
          <span key={i} className="odd">
            {p.text}
          </span>
        ) : (
          <Fragment key={i}>{p.text}</Fragment>
        ),
      )}
      {cut && link && '…'}
      {cut && !link && (
        <>
          …{' '}
          <Anchor component="button" type="button" size="xs" onClick={() => setAll(true)}>
            all {text.length.toLocaleString()} characters
          </Anchor>
        </>
      )}
    </bdi>
  )
}

/** plain is the same for places that take only text. */
export const plain = (text: string, most = 200) => {
  const s = split(text.slice(0, most)).map((p) => p.text).join('')
  return text.length > most ? s + '…' : s
}

function split(text: string): { text: string; odd?: boolean }[] {
  if (!unseen.test(text)) return [{ text }]
  const out: { text: string; odd?: boolean }[] = []
  let run = ''
  for (const c of text) {
    if (c !== '\n' && c !== '\t' && unseen.test(c)) {
      if (run) out.push({ text: run })
      run = ''
      out.push({ text: `[U+${c.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}]`, odd: true })
    } else run += c
  }
  if (run) out.push({ text: run })
  return out
}
