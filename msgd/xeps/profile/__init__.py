"""What an account shows of itself: one avatar and one card, in the forms that clients of all ages know.

`avatar`: the picture is an item of the account's nodes (XEP-0084) and nowhere else; a vCard gets it when it
is asked for, presence its hash. `card`: the vCard as it was written last, in the old form or the new one, the
other made from it. `vcard4`: from one form to the other.
"""
