import { SegmentedControl, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { getRouteApi, Link } from '@tanstack/react-router'
import { useMemo } from 'react'
import { Bar, BarChart, CartesianGrid, ResponsiveContainer, Tooltip, XAxis, YAxis } from 'recharts'
import { events } from '../api/queries'
import type { Identity, LedgerEntry } from '../api/types'
import { Card } from '../parts/bits'
import { Events } from '../parts/Events'
import { plain } from '../parts/Shown'
import { Await, Empty } from '../parts/States'
import { count } from '../parts/words'

const route = getRouteApi('/identities/$name')

/** Timeline is what an identity did: when, by action and resource, allowed and refused. */
export default function Timeline({ i }: { i: Identity }) {
  const { outcome = '' } = route.useSearch()
  const navigate = route.useNavigate()
  const q = useQuery(events({ identity: i.id, type: 'request', ...(outcome ? { outcome } : {}) }, 1000))
  return (
    <Await of={q}>
      {(page) => {
        const list = page.items ?? []
        const pickers = (
          <SegmentedControl
            size="xs"
            aria-label="Outcome"
            value={outcome}
            data={[{ value: '', label: 'All' }, { value: 'allowed', label: 'Allowed' }, { value: 'refused', label: 'Refused' }, { value: 'failed', label: 'Failed' }]}
            onChange={(v) => void navigate({ replace: true, search: ({ cord: _, ...was }) => ({ ...was, outcome: v || undefined }) })}
          />
        )
        return (
          <div style={{ display: 'grid', gap: 16 }}>
            <Card title="Requests over time" side={pickers} pad>
              {list.length ? <Chart list={list} /> : <Empty title="It did nothing of the kind">As soon as it calls something, it is on record here.</Empty>}
              {page.next && <Text size="sm" c="dimmed">This is of its last {list.length.toLocaleString()} requests. <Link className="link" to="/ledger" search={{ identity: i.id, type: 'request' } as never}>The ledger has all of them.</Link></Text>}
            </Card>
            {list.length > 0 && (
              <div className="two">
                <Most title="By action" list={list} key1={(e) => e.event.api.operation || e.event.unmapped.class || 'unknown'} />
                <Most title="By resource" list={list} key1={(e) => e.event.resources?.[0]?.name ?? 'none'} />
              </div>
            )}
            {list.length > 0 && (
              <Card title="The last of them">
                <Events of={list.slice(0, 30)} who={false} />
              </Card>
            )}
          </div>
        )
      }}
    </Await>
  )
}

type Slot = { at: number; allowed: number; refused: number }

function Chart({ list }: { list: LedgerEntry[] }) {
  const slots = useMemo(() => fill(list), [list])
  const bars = slots.length
  const span = bars ? slots[bars - 1]!.at - slots[0]!.at : 0
  const label = (t: number) =>
    new Date(t).toLocaleString(undefined, span > 2 * 86_400_000 ? { month: 'short', day: 'numeric' } : { hour: '2-digit', minute: '2-digit' })
  const refused = list.filter((e) => e.event.unmapped.outcome === 'refused').length
  return (
    <figure style={{ margin: 0 }} aria-label={`${count(list.length, 'request')}, ${refused} of them refused`}>
      <ResponsiveContainer width="100%" height={170}>
        <BarChart data={slots} margin={{ left: -18, right: 4, top: 6, bottom: 0 }} barCategoryGap={1}>
          <CartesianGrid vertical={false} stroke="var(--line-soft)" />
          <XAxis dataKey="at" tickFormatter={label} tickLine={false} axisLine={{ stroke: 'var(--line)' }} tick={{ fontSize: 11, fill: 'var(--mantine-color-dimmed)' }} minTickGap={40} />
          <YAxis allowDecimals={false} tickLine={false} axisLine={false} tick={{ fontSize: 11, fill: 'var(--mantine-color-dimmed)' }} />
          <Tooltip
            cursor={{ fill: 'var(--hover)' }}
            labelFormatter={(t) => new Date(Number(t)).toLocaleString()}
            contentStyle={{ background: 'var(--card)', border: '1px solid var(--line)', borderRadius: 7, fontSize: 12.5, color: 'var(--mantine-color-text)' }}
          />
          <Bar dataKey="allowed" stackId="a" fill="var(--mantine-color-ink-5)" isAnimationActive={false} />
          <Bar dataKey="refused" name="refused or failed" stackId="a" fill="var(--rope)" radius={[2, 2, 0, 0]} isAnimationActive={false} />
        </BarChart>
      </ResponsiveContainer>
      <Text size="xs" c="dimmed" component="figcaption">
        <span className="dot" style={{ background: 'var(--mantine-color-ink-5)' }} /> allowed &nbsp; <span className="dot rope" /> refused or failed
      </Text>
    </figure>
  )
}

const widths = [60, 300, 900, 3600, 3 * 3600, 86_400, 7 * 86_400, 30 * 86_400].map((s) => s * 1000)
function fill(list: LedgerEntry[]): Slot[] {
  const times = list.map((e) => e.event.time)
  const now = Date.now()
  const from = Math.min(...times, now - 3_600_000)
  const width = widths.find((w) => (now - from) / w <= 60) ?? widths[widths.length - 1]!
  const first = Math.floor(from / width)
  const out: Slot[] = []
  for (let n = first; n <= Math.floor(now / width); n++) out.push({ at: n * width, allowed: 0, refused: 0 })
  for (const e of list) {
    const slot = out[Math.floor(e.event.time / width) - first]
    if (slot) slot[e.event.unmapped.outcome === 'allowed' || e.event.unmapped.outcome === 'pending' ? 'allowed' : 'refused']++
  }
  return out
}

function Most({ title, list, key1 }: { title: string; list: LedgerEntry[]; key1: (e: LedgerEntry) => string }) {
  const rows = useMemo(() => {
    const by = new Map<string, { allowed: number; refused: number }>()
    for (const e of list) {
      const k = key1(e)
      const v = by.get(k) ?? { allowed: 0, refused: 0 }
      v[e.event.unmapped.outcome === 'allowed' ? 'allowed' : 'refused']++
      by.set(k, v)
    }
    return [...by].sort((a, b) => b[1].allowed + b[1].refused - a[1].allowed - a[1].refused).slice(0, 8)
  }, [list, key1])
  const most = Math.max(...rows.map(([, v]) => v.allowed + v.refused), 1)
  return (
    <Card title={title}>
      <div className="rows">
        {rows.map(([k, v]) => (
          <div key={k}>
            <div style={{ display: 'flex', justifyContent: 'space-between', gap: 12 }}>
              <span className="mono clip" title={plain(k, 300)}>{plain(k, 120)}</span>
              <span className="num dim" style={{ whiteSpace: 'nowrap' }}>
                {v.allowed.toLocaleString()}
                {v.refused > 0 && <span className="ropes"> · {v.refused.toLocaleString()} refused</span>}
              </span>
            </div>
            <div className="bars" style={{ marginTop: 5 }}>
              <i style={{ width: `${(100 * v.allowed) / most}%`, background: 'var(--mantine-color-ink-5)' }} />
              <i style={{ width: `${(100 * v.refused) / most}%`, background: 'var(--rope)' }} />
            </div>
          </div>
        ))}
      </div>
    </Card>
  )
}
