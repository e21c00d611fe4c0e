import { Link } from '@tanstack/react-router'
import type { LedgerEntry } from '../api/types'
import { Class, State, Who } from './bits'
import { plain, Shown } from './Shown'
import { When } from './When'
import { did } from './words'

/** Events is a list of what happened, the newest first. */
export function Events({ of, who = true, fresh }: { of: LedgerEntry[]; who?: boolean; fresh?: Set<number> }) {
  return (
    <div className="rows">
      {of.map((e) => (
        <Line key={e.index} e={e} who={who} fresh={fresh?.has(e.index) ?? false} />
      ))}
    </div>
  )
}

function Line({ e: { index, event: e }, who, fresh }: { e: LedgerEntry; who: boolean; fresh: boolean }) {
  const outcome = e.unmapped.outcome
  const chain = e.unmapped.chain ?? []
  return (
    <div className={fresh ? 'fresh' : undefined} style={{ display: 'grid', gridTemplateColumns: 'minmax(0,1fr) auto', columnGap: 12, alignItems: 'baseline' }}>
      <div style={{ minWidth: 0 }}>
        <div style={{ display: 'flex', gap: '0 8px', alignItems: 'center', flexWrap: 'wrap' }}>
          {who && (
            <b style={{ fontWeight: 580 }}>
              <Who id={e.actor.user.uid} />
            </b>
          )}
          <Link to="/ledger/$id" params={{ id: e.metadata.uid || String(index) }} className="link">
            <Shown text={did(e)} most={140} link />
          </Link>
          {e.unmapped.type === 'request' && <Class of={e.unmapped.class} />}
          {outcome !== 'allowed' && <State of={outcome} />}
        </div>
        <div className="dim clip" style={{ fontSize: 12.5 }}>
          {chain.length > 1 && <>for {plain(chain.slice(1).map((c) => c.slice(c.lastIndexOf('/') + 1)).join(', for '), 120)} · </>}
          {e.unmapped.type === 'request' && e.resources?.[0]?.name ? <span className="mono">{plain(e.resources[0].name, 160)}</span> : null}
          {e.status_detail && outcome !== 'allowed' ? <> {plain(e.status_detail, 240)}</> : null}
        </div>
      </div>
      <span className="dim" style={{ fontSize: 12.5 }}>
        <When at={e.time} />
      </span>
    </div>
  )
}
