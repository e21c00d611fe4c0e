import { Drawer, useMatches } from '@mantine/core'
import { useNavigate, useSearch } from '@tanstack/react-router'
import { useState } from 'react'
import type { KillResult, Receipt } from '../api/types'
import { Aim } from './Aim'
import { Choose } from './Choose'
import { Fill } from './Fill'

export type Target = { noun: 'identity' | 'owner' | 'upstream' | 'all'; name: string }

const parse = (s: string): Target | undefined => {
  const [noun, ...rest] = s.split(':')
  const name = rest.join(':')
  return noun === 'all' || ((noun === 'identity' || noun === 'owner' || noun === 'upstream') && name) ? { noun: noun as Target['noun'], name } : undefined
}

/**
 * The cord. It is at the same place on every page, and what it is about to do is in the address: identity:NAME, owner:NAME, upstream:NAME, all;
 * afterwards pulled:EPOCH:SEQ, so that the receipt is still there when the page is loaded anew.
 */
export default function Cord() {
  const { cord } = useSearch({ from: '__root__' })
  const navigate = useNavigate()
  const [result, setResult] = useState<KillResult>()
  const size = useMatches({ base: '100%', sm: 'lg' })
  const set = (to: string | undefined, replace = false) => void navigate({ to: '.', replace, search: (s: Record<string, unknown>) => ({ ...s, cord: to }) as never })
  const close = () => set(undefined, true) // or the way back would lead into it again
  const target = cord ? parse(cord) : undefined
  const [, epoch, seq] = cord?.startsWith('pulled:') ? cord.split(':') : []
  const done = epoch && seq !== undefined ? receiptAt(epoch, Number(seq), result) : undefined
  return (
    <Drawer opened={!!cord} onClose={close} position="right" size={size} title={done ? 'The cord was pulled' : 'Pull the cord'} styles={{ title: { fontWeight: 640, fontSize: 17 } }}>
      {done ? (
        <Fill receipt={done} result={result} onClose={close} />
      ) : target ? (
        <Aim
          key={cord}
          target={target}
          onOther={() => set('choose')}
          onPulled={(r) => {
            setResult(r)
            set(`pulled:${r.receipt.cursor.epoch}:${r.receipt.cursor.seq}`, true)
          }}
        />
      ) : (
        <Choose onChoose={set} />
      )}
    </Drawer>
  )
}

function receiptAt(epoch: string, seq: number, result?: KillResult): Receipt {
  if (result?.receipt.cursor.epoch === epoch && result.receipt.cursor.seq === seq) return result.receipt
  return { cursor: { epoch, seq }, committed: '', as_of: '', confirmed: {} }
}
