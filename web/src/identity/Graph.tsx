import { Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { useMemo, useState } from 'react'
import { graph } from '../api/queries'
import type { Graph as View, Identity } from '../api/types'
import { Card } from '../parts/bits'
import { plain } from '../parts/Shown'
import { Await, Empty } from '../parts/States'
import { short } from '../parts/words'

type Node = View['nodes'][number]
type Placed = Node & { x: number; y: number }
const W = 168
const H = 44
const GAP = 16

/** Graph is who is around an identity: people, those that started it and that it started, and where it may go. */
export default function Graph({ i }: { i: Identity }) {
  return (
    <Card title="People, agents and upstreams around it">
      <Await of={useQuery(graph(i.name))}>
        {(g) => (g.nodes.length < 2 ? <Empty title="It stands alone">Nobody started it, it started nobody, and it may do nothing yet.</Empty> : <Drawing g={g} self={i.id} />)}
      </Await>
    </Card>
  )
}

function Drawing({ g, self }: { g: View; self: string }) {
  const navigate = useNavigate()
  const [near, setNear] = useState<string>()
  const { nodes, width, height, more } = useMemo(() => place(g, self), [g, self])
  const at = new Map(nodes.map((n) => [n.id, n]))
  const edges = g.edges.filter((e) => at.has(e.from) && at.has(e.to))
  const go = (n: Node) => {
    if (n.kind === 'identity') void navigate({ to: '/identities/$name', params: { name: short(n.id) } })
    else if (n.kind === 'upstream') void navigate({ to: '/upstreams/$name', params: { name: short(n.id.replace(/^upstream[:/]/, '')) } })
    else void navigate({ to: '/owners/$name', params: { name: short(n.id) } })
  }
  return (
    <div className="scroll" style={{ padding: 12 }} tabIndex={0} role="region" aria-label="The graph, scrolls">
      <svg width={width} height={height} viewBox={`0 0 ${width} ${height}`} role="group" aria-label={`${nodes.length} around it`} style={{ fontSize: 13, display: 'block', margin: '0 auto' }}>
        {edges.map((e, n) => {
          const a = at.get(e.from)!
          const b = at.get(e.to)!
          const on = !near || near === e.from || near === e.to
          const [x1, x2] = a.x < b.x ? [a.x + W, b.x] : a.x > b.x ? [a.x, b.x + W] : [a.x + W / 2, b.x + W / 2]
          const [y1, y2] = a.x === b.x ? (a.y < b.y ? [a.y + H, b.y] : [a.y, b.y + H]) : [a.y + H / 2, b.y + H / 2]
          const mid = (x1 + x2) / 2
          return (
            <g key={n} opacity={on ? 1 : 0.2}>
              <path d={a.x === b.x ? `M${x1} ${y1}L${x2} ${y2}` : `M${x1} ${y1}C${mid} ${y1} ${mid} ${y2} ${x2} ${y2}`} fill="none" stroke={e.what === 'acted for' ? 'var(--rope)' : 'var(--mantine-color-dimmed)'} strokeWidth={1.2} strokeDasharray={e.what === 'may' ? '4 3' : undefined} />
              {near && on && (
                <text x={mid} y={(y1 + y2) / 2 - 4} textAnchor="middle" fill="var(--mantine-color-text)" fontSize={11} stroke="var(--card)" strokeWidth={4} paintOrder="stroke">
                  {e.what}
                </text>
              )}
            </g>
          )
        })}
        {nodes.map((n) => (
          <g
            key={n.id}
            transform={`translate(${n.x} ${n.y})`}
            role="link"
            tabIndex={0}
            aria-description={`${edges.filter((e) => e.from === n.id).map((e) => `${e.what} ${plain(at.get(e.to)!.label, 40)}`).join('; ')}`}
            style={{ cursor: 'pointer' }}
            onClick={() => go(n)}
            onKeyDown={(e) => e.key === 'Enter' && go(n)}
            onMouseEnter={() => setNear(n.id)}
            onMouseLeave={() => setNear(undefined)}
            onFocus={() => setNear(n.id)}
            onBlur={() => setNear(undefined)}
          >
            <rect width={W} height={H} rx={n.kind === 'person' ? 22 : 7} fill={n.id === self ? 'var(--hover)' : 'var(--card)'} stroke={n.id === self ? 'var(--link)' : 'var(--line)'} strokeWidth={n.id === self ? 2 : 1.2} />
            <text x={12} y={19} fill="var(--mantine-color-text)" fontWeight={580}>
              {plain(n.label, 20)}{' '}
            </text>
            <text x={12} y={34} fill="var(--mantine-color-dimmed)" fontSize={11}>
              {n.kind}
              {n.state && n.state !== 'active' ? ` · ${n.state}` : ''}
            </text>
          </g>
        ))}
      </svg>
      <Text size="xs" c="dimmed" ta="center" mt="xs">
        Dashed: may call. Orange: acted on behalf of. {more > 0 && `${more.toLocaleString()} more are not drawn.`}
      </Text>
    </div>
  )
}

/** place puts people left, identities in the middle by who started whom, upstreams right. */
function place(g: View, self: string): { nodes: Placed[]; width: number; height: number; more: number } {
  const started = new Map<string, string>()
  for (const e of g.edges) if (e.what === 'started') started.set(e.to, e.from)
  const kind = new Map(g.nodes.map((n) => [n.id, n.kind]))
  const depth = (id: string): number => {
    let d = 0
    for (let p = started.get(id); p && kind.get(p) === 'identity' && d < 8; p = started.get(p)) d++
    return d
  }
  const columns = new Map<number, Node[]>()
  let deepest = 0
  for (const n of g.nodes) if (n.kind === 'identity') deepest = Math.max(deepest, depth(n.id))
  for (const n of g.nodes) {
    const c = n.kind === 'person' ? 0 : n.kind === 'upstream' ? deepest + 2 : 1 + depth(n.id)
    columns.set(c, [...(columns.get(c) ?? []), n])
  }
  const most = 14
  let more = 0
  for (const [c, list] of columns) {
    list.sort((a, b) => Number(b.id === self) - Number(a.id === self))
    if (list.length > most) {
      more += list.length - most
      columns.set(c, list.slice(0, most))
    }
  }
  const used = [...columns.keys()].sort((a, b) => a - b)
  const tall = Math.max(...[...columns.values()].map((l) => l.length))
  const height = tall * (H + GAP) + GAP
  const step = W + 92
  const nodes = used.flatMap((c, n) => {
    const list = columns.get(c)!
    const top = (height - list.length * (H + GAP) + GAP) / 2
    return list.map((node, k) => ({ ...node, x: 8 + n * step, y: top + k * (H + GAP) }))
  })
  return { nodes, width: 16 + (used.length - 1) * step + W, height, more }
}
