import { useQuery } from '@tanstack/react-query'
import { events } from '../api/queries'
import type { Identity } from '../api/types'
import { Card, State, Who } from '../parts/bits'
import { Shown } from '../parts/Shown'
import { Await, Empty } from '../parts/States'
import { When } from '../parts/When'
import { did } from '../parts/words'
import { Link } from '@tanstack/react-router'

/** History is what was changed about an identity, by whom and why. */
export function History({ i }: { i: Identity }) {
  const q = useQuery(events({ text: i.id }, 500))
  return (
    <Card title="What was changed about it">
      <Await of={q}>
        {(page) => {
          const list = (page.items ?? []).filter((e) => e.event.unmapped.type !== 'request' && !e.event.unmapped.type.startsWith('token.') && !e.event.unmapped.type.startsWith('approval.'))
          return list.length === 0 ? (
            <Empty title="No change is on record" />
          ) : (
            <div className="rows">
              {list.map(({ index, event: e }) => (
                <div key={index}>
                  <div style={{ display: 'flex', gap: 8, flexWrap: 'wrap', alignItems: 'baseline' }}>
                    <b style={{ fontWeight: 580 }}><Who id={e.actor.user.uid} /></b>
                    <Link className="link" to="/ledger/$id" params={{ id: e.metadata.uid }}><Shown text={did(e)} most={200} link /></Link>
                    {e.unmapped.outcome !== 'allowed' && <State of={e.unmapped.outcome} />}
                    <span className="dim" style={{ marginLeft: 'auto', fontSize: 12.5 }}><When at={e.time} /></span>
                  </div>
                  {(e.status_detail || e.unmapped.detail) && (
                    <div className="dim" style={{ fontSize: 12.5 }}>
                      {e.status_detail && <Shown text={e.status_detail} />}
                      {Object.entries(e.unmapped.detail ?? {}).filter(([k]) => !['thumbprint', 'hash', 'cedar'].includes(k)).slice(0, 6).map(([k, v]) => (
                        <span key={k} style={{ marginRight: 10 }}> {k}: <Shown text={v} most={120} /></span>
                      ))}
                    </div>
                  )}
                </div>
              ))}
            </div>
          )
        }}
      </Await>
    </Card>
  )
}
