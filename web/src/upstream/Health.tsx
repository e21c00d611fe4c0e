import { useQuery } from '@tanstack/react-query'
import type { Schemas } from '../api/client'
import { events } from '../api/queries'
import type { Upstream } from '../api/types'
import { When } from '../parts/When'

/** Health is what the last requests to an upstream say of it. */
export function Health({ u, s }: { u: Upstream; s?: Schemas['UpstreamSummary'] }) {
  const lately = useQuery({ ...events({ upstream: u.name, type: 'request', since: '24h' }, 50), retry: false, staleTime: 30_000 })
  const last = lately.data?.items ?? []
  const failed = last.filter((e) => e.event.unmapped.outcome === 'failed' || (e.event.api.response?.code ?? 0) >= 500).length
  const answered = last.filter((e) => (e.event.api.response?.code ?? 0) > 0 && (e.event.api.response?.code ?? 0) < 500).length
  const newest = last[0]
  const [tone, said] = u.killed
    ? ['rope', 'the cord was pulled']
    : s?.lapsed?.length
      ? ['bad', `${s.lapsed.length} accounts have lapsed`]
      : failed && !answered
        ? ['bad', 'does not answer']
        : failed
          ? ['wait', `${failed} of ${last.length} failed`]
          : answered
            ? ['good', 'answers']
            : lately.data
              ? ['', 'not used today']
              : ['', lately.isError ? 'not known' : '…']
  return (
    <>
      <span style={{ display: 'inline-flex', alignItems: 'center', gap: 6 }}><span className={`dot ${tone}`} aria-hidden />{said}</span>
      {newest && <div className="dim" style={{ fontSize: 12.5 }}>last call <When at={newest.event.time} /></div>}
    </>
  )
}
