-- User ids of identity providers have up to 255 visible ASCII characters (Contracts/UserId.cs). Rows that are there satisfy the wider
-- bounds, so the constraints are not validated: that would read every order under a lock that keeps all others out.
alter table orders drop constraint orders_user_id_check,
    add constraint orders_user_id_check check (octet_length(user_id) between 1 and 255) not valid;
alter table blocked_subject drop constraint blocked_subject_value_check,
    add constraint blocked_subject_value_check check (octet_length(value) between 1 and 255) not valid;
