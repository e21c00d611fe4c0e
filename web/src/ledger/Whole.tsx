import { Button, Stack, Text } from '@mantine/core'
import { useMutation, useQuery } from '@tanstack/react-query'
import { got, POST, type Trouble, type Schemas } from '../api/client'
import { ledgerKey, status } from '../api/queries'
import { useMay } from '../app/session'
import { Card, Copy, Facts } from '../parts/bits'
import { Failure } from '../parts/States'

/** Whole is the ledger as one thing: how large, under which root, and whether it is what was recorded. */
export function Whole() {
  const s = useQuery({ ...status, retry: false })
  const key = useQuery({ ...ledgerKey, retry: false }).data
  const may = useMay()
  const verify = useMutation<Schemas['VerifyResult'], Trouble>({ mutationFn: () => got(POST('/v1/ledger/verify')) })
  return (
    <Card title="The whole of it" pad>
      <Stack>
        {s.data && (
          <Facts
            of={[
              ['Events', s.data.ledger.size.toLocaleString()],
              ['Root', <span key="r" className="mono">{s.data.ledger.root}</span>],
              ['Writable', s.data.ledger.writable ? 'yes' : <span key="w" className="bad">no: {s.data.ledger.why}</span>],
              ...(key ? ([['Verifier key', <span key="k" className="mono">{key.key} <Copy text={key.key} label="Copy the key" /></span>]] as [string, React.ReactNode][]) : []),
            ]}
          />
        )}
        {may('verify-ledger') && (
          <div>
            <Button variant="default" loading={verify.isPending} onClick={() => verify.mutate()}>Read all of it and compare</Button>
          </div>
        )}
        {verify.isError && <Failure error={verify.error} />}
        {verify.data && (
          <Text role="status" className={verify.data.ok ? 'good' : 'bad'} fw={600}>
            {verify.data.ok ? `All ${verify.data.report.events.toLocaleString()} events are what was recorded.` : `NOT what was recorded: ${(verify.data.report.problems ?? []).map((p) => p.what).join('; ')}`}
          </Text>
        )}
        <Text size="sm" c="dimmed">Fetch the key early and keep it elsewhere. With it and an export anybody can verify the record, without this server.</Text>
      </Stack>
    </Card>
  )
}
