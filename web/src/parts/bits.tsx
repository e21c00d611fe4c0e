import { ActionIcon, Badge, CopyButton, Group, Title, Tooltip, Text } from '@mantine/core'
import { IconCheck, IconCopy } from '@tabler/icons-react'
import { Link } from '@tanstack/react-router'
import type { ReactNode } from 'react'
import { Shown } from './Shown'
import { short } from './words'

export function Head({ title, sub, children }: { title: ReactNode; sub?: ReactNode; children?: ReactNode }) {
  return (
    <Group justify="space-between" align="flex-start" mb="md" gap="sm" wrap="wrap">
      <div style={{ minWidth: 0, flex: '1 1 320px' }}>
        <Title order={1}>{title}</Title>
        {sub && (
          <Text c="dimmed" mt={3} component="div">
            {sub}
          </Text>
        )}
      </div>
      {children && <Group gap="xs">{children}</Group>}
    </Group>
  )
}

export function Card({ title, side, children, pad = false, label }: { title?: ReactNode; side?: ReactNode; children: ReactNode; pad?: boolean; label?: string }) {
  return (
    <section className="card" aria-label={label ?? (typeof title === 'string' ? title : undefined)}>
      {title && (
        <header>
          <Title order={2}>{title}</Title>
          {side && <div>{side}</div>}
        </header>
      )}
      {pad ? <div className="in">{children}</div> : children}
    </section>
  )
}

export function Facts({ of }: { of: [ReactNode, ReactNode][] }) {
  return (
    <dl className="facts">
      {of.map(([k, v], i) => (
        <div key={i} style={{ display: 'contents' }}>
          <dt>{k}</dt>
          <dd>{v}</dd>
        </div>
      ))}
    </dl>
  )
}

const tone: Record<string, string> = {
  active: 'good', joined: 'good', local: 'good', allowed: 'good', approved: 'good', used: 'good', standing: 'good', present: 'good',
  killed: 'rope', refused: 'bad', failed: 'bad', denied: 'bad', evicted: 'bad', gone: 'bad',
  suspended: 'wait', pending: 'wait', asked: 'wait', waiting: 'wait', expired: 'wait',
}
/** State is a word with a colour beside it; the word is what counts. */
export function State({ of }: { of: string }) {
  return (
    <span style={{ display: 'inline-flex', alignItems: 'center', gap: 6, whiteSpace: 'nowrap' }}>
      <span className={`dot ${tone[of] ?? ''}`} aria-hidden />
      {of}
    </span>
  )
}

export function Class({ of }: { of?: string }) {
  if (!of) return null
  const color = of === 'read' ? 'gray' : of === 'write' ? 'ink' : of === 'delete' ? 'red' : 'rope'
  return (
    <Badge size="sm" variant="outline" color={color} tt="none" fw={560} style={{ color: 'var(--mantine-color-text)' }}>
      {of}
    </Badge>
  )
}

/** Who is an identity, a person, an operator or Lanyard itself, with a way to its page. */
export function Who({ id }: { id: string }) {
  const n = short(id)
  if (id.startsWith('spiffe://') && !id.includes('/person/'))
    return (
      <Link to="/identities/$name" params={{ name: n }} className="link" title={id}>
        <Shown text={n} most={80} link />
      </Link>
    )
  if (id.startsWith('person:') || id.includes('/person/'))
    return (
      <Link to="/owners/$name" params={{ name: n }} className="link">
        <Shown text={n} most={80} link />
      </Link>
    )
  return <Shown text={id === 'lanyard' ? 'Lanyard' : n} most={80} />
}

export function OwnerName({ id, name }: { id: string; name?: string }) {
  return (
    <Link to="/owners/$name" params={{ name: id }} className="link">
      <Shown text={name || id} most={80} link />
    </Link>
  )
}

export function Copy({ text, label = 'Copy' }: { text: string; label?: string }) {
  return (
    <CopyButton value={text} timeout={1500}>
      {({ copied, copy }) => (
        <Tooltip label={copied ? 'Copied' : label}>
          <ActionIcon variant="subtle" color="gray" onClick={copy} aria-label={copied ? 'Copied' : label}>
            {copied ? <IconCheck size={15} /> : <IconCopy size={15} />}
          </ActionIcon>
        </Tooltip>
      )}
    </CopyButton>
  )
}

export function Code({ text, cedar = false, copy = true, label }: { text: string; cedar?: boolean; copy?: boolean; label?: string }) {
  return (
    <div style={{ position: 'relative' }}>
      <pre className="code" tabIndex={0} aria-label={label ?? (cedar ? 'Cedar policy' : 'Text')} role="region">
        {cedar ? coloured(text) : <Shown text={text} most={20_000} />}
      </pre>
      {copy && (
        <div style={{ position: 'absolute', top: 4, right: 4 }}>
          <Copy text={text} />
        </div>
      )}
    </div>
  )
}

const word = /("(?:[^"\\]|\\.)*")|(\/\/[^\n]*)|\b(permit|when|unless|in|has|like|is|if|then|else|true|false)\b|\b(forbid)\b|(@[a-z]+)/g
function coloured(text: string): ReactNode[] {
  const out: ReactNode[] = []
  let last = 0
  for (const m of text.matchAll(word)) {
    out.push(<Shown key={last} text={text.slice(last, m.index)} most={1e6} />)
    const kind = m[1] ? 's' : m[2] ? 'c' : m[4] ? 'f' : 'k'
    out.push(
      <span key={`${m.index}k`} className={kind}>
        <Shown text={m[0]} most={1e6} />
      </span>,
    )
    last = m.index + m[0].length
  }
  out.push(<Shown key="end" text={text.slice(last)} most={1e6} />)
  return out
}
