import { Title } from '@mantine/core'
import { IconCheck } from '@tabler/icons-react'
import type { ReactNode } from 'react'

/** Step is one of a guided path; those that are not reached yet are not there. */
export function Step({ n, title, done = false, children }: { n: number; title: ReactNode; done?: boolean; children: ReactNode }) {
  return (
    <section className="card" style={{ marginBottom: 14 }} aria-label={typeof title === 'string' ? title : undefined}>
      <header style={{ justifyContent: 'flex-start' }}>
        <span
          aria-hidden
          style={{ width: 22, height: 22, borderRadius: 11, display: 'grid', placeItems: 'center', fontSize: 12, fontWeight: 640, background: done ? 'var(--good)' : 'var(--hover)', color: done ? 'var(--card)' : 'inherit' }}
        >
          {done ? <IconCheck size={14} stroke={3} /> : n}
        </span>
        <Title order={2}>{title}</Title>
      </header>
      <div className="in">{children}</div>
    </section>
  )
}
